"""Physical networks against digital ones at equal digital cost."""
