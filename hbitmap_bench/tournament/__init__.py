"""Contenders for the access check, side by side over workloads and image sizes."""
