"""Reference and guides; the modules here write the pages that are made from code (`scripts/docs`)."""
