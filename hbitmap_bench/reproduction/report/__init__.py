"""What people read: tables, figures and the reproduction report."""
