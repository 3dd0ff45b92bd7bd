"""`wherry doctor`: examines the host by doing, one topic per file. It needs no daemon and changes nothing."""
