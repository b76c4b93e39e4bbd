"""What the table shows, without the table: order, filter, cursor, marks and counts.

Nothing in here imports textual; every rule about "which VM is under the finger" has its home and
its tests here.
"""
