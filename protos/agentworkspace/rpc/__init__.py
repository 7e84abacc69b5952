"""What both ends of a call must do identically; knows no service and no SQL."""
