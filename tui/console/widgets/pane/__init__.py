"""The pane below the table: what is known about the VM under the cursor, and its log."""
