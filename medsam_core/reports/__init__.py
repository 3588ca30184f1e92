"""What people look at: overlays, tables, pages."""
