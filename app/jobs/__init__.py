"""Jobs: what users asked for, kept in SQL; the states, the lease protocol and the endpoints around them."""
