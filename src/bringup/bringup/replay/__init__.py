"""Recordings through the real reflex, over topics: what would it have done?"""
