"""How pictures, tables and pages look: one palette, one way to draw a figure, one way to set a table."""
