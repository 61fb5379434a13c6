"""What each stage can do on this machine, against its limit and its peers."""
