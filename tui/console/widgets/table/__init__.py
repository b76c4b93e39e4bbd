"""The live table: a table of our own on Textual's Line API, keyed by the VM's identity.

``columns`` says what a cell shows, ``rows`` makes a line of cells, ``widget`` paints the lines that
differ from what is on the screen. A repaint costs what is visible, never what is in the fleet.
"""
