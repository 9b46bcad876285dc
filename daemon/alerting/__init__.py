"""Notifications: what they say, and how they reach programs and people."""
