"""What the screen is made of: the table, the pane, and the lines around them."""
