"""How passwords are stored."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class FrugalArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with the parameters of OWASP's password storage cheat sheet: 19 MiB, two passes, one lane.

    Django's own take 100 MiB for each sign-in, and eight threads: too much for several at once on a small machine.
    """

    memory_cost = 19_456
    time_cost = 2
    parallelism = 1
