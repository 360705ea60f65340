"""The tables and the database they live in. No rules here: they are in `services`.

May import SQLAlchemy and nothing of the control plane. Whatever is peculiar to one database is in `engine`.
"""
