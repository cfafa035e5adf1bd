"""Figures about exported models; torch only where the judge is trained."""
