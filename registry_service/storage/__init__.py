"""PostgreSQL: engine, transactions, one query module per table group, migrations."""
