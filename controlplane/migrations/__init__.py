"""Alembic's scripts. A revision, once released, is never edited; a test compares their sum with the models."""
