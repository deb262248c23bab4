"""How passwords are hashed."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class FrugalArgon2PasswordHasher(Argon2PasswordHasher):
    """Hash with the parameters that OWASP recommends, because Django's take 100 MiB and eight threads a sign-in."""

    memory_cost = 19_456  # KiB
    time_cost = 2
    parallelism = 1
