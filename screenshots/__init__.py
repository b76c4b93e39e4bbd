"""The README's pictures, and the script that draws them."""
