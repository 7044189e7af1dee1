"""What every room uses, and what knows no domain: files, children, tables, numbers."""
