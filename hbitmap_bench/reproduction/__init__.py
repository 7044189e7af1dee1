"""The published table, measured anew: in process and on real builds."""
