"""Serving side by side: Graftwork, what it is compared to, and what loads them."""
