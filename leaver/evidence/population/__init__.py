"""Completeness: who should have had a case according to HR, and who had one; openings and their erasure."""
