"""What must survive: SQL tables, their migrations, and one repository that speaks in domain values.

Tables are apart from domain types; no other package imports SQL. SQLite in one file by default, PostgreSQL by URL.
"""
