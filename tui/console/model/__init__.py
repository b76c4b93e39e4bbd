"""What the table shows, without the table: order, filter, cursor, marks and counts.

Nothing in here imports Textual. Every rule about which VM a key means (P6) is here, with its tests.
"""
