"""Reports: what became of campaigns, when it happened, and by what it differs. Each is one file: its question, its SQL, its record."""
