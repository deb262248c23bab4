"""Names, time zones and free hours of demo volunteers, and the meetings of demo projects."""

# First and last names that are often heard together.
NAMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("Maya", "Grace", "Jordan", "Caleb", "Renee", "Elliot", "Tessa", "Marcus", "Paige", "Owen"),
        ("Bennett", "Harper", "Sullivan", "Brooks", "Whitfield", "Parker", "Ellis", "Monroe"),
    ),
    (
        ("Lucía", "Mateo", "Ximena", "Alejandro", "Guadalupe", "Diego", "Valeria", "Rafael", "Marisol", "Javier"),
        ("Hernández", "Ramírez", "Castillo", "Morales", "Gutiérrez", "Vargas", "Cárdenas", "Ríos"),
    ),
    (
        ("Thanh", "Minh", "Linh", "Bao", "Huong", "Khoa", "Trang", "Duc"),
        ("Nguyen", "Tran", "Pham", "Le", "Vo", "Dang", "Bui"),
    ),
    (
        ("Mei", "Jun", "Xiulan", "Wei", "Yating", "Hao", "Lihua", "Zhen"),
        ("Chen", "Wang", "Zhang", "Liu", "Huang", "Lin", "Wu"),
    ),
    (
        ("Ji-woo", "Min-jun", "Seo-yeon", "Hyun", "Eun-ji", "Tae-yang", "Soo-jin"),
        ("Kim", "Park", "Choi", "Jung", "Kang", "Yoon", "Lim"),
    ),
    (
        ("Ananya", "Rohan", "Priya", "Arjun", "Kavya", "Vikram", "Meera", "Sanjay"),
        ("Sharma", "Iyer", "Patel", "Reddy", "Banerjee", "Kulkarni", "Nair"),
    ),
    (
        ("Adaeze", "Chidi", "Ngozi", "Tunde", "Folasade", "Emeka", "Yetunde", "Segun"),
        ("Okafor", "Adeyemi", "Eze", "Balogun", "Nwosu", "Ogunleye", "Obi"),
    ),
    (
        ("Selam", "Dawit", "Hanna", "Yonas", "Bethlehem", "Abel", "Liya"),
        ("Tesfaye", "Bekele", "Haile", "Girma", "Alemu", "Kebede"),
    ),
    (
        ("Layla", "Omar", "Nour", "Youssef", "Rania", "Karim", "Salma", "Tariq"),
        ("Haddad", "Khalil", "Mansour", "Saleh", "Nasser", "Aziz", "Farouk"),
    ),
    (
        ("Shirin", "Dariush", "Parisa", "Kaveh", "Leila", "Navid", "Azadeh"),
        ("Tehrani", "Rahimi", "Karimi", "Shirazi", "Moradi", "Ahmadi"),
    ),
    (
        ("Anahit", "Aram", "Lusine", "Tigran", "Nare", "Hayk", "Mariam"),
        ("Petrosyan", "Sargsyan", "Hakobyan", "Grigoryan", "Vardanyan", "Avetisyan"),
    ),
    (
        ("Maricel", "Paolo", "Tala", "Miguel", "Rosario", "Jomar", "Ligaya"),
        ("Santos", "Reyes", "Bautista", "Villanueva", "Aquino", "Dela Cruz"),
    ),
    (
        ("Haruka", "Kenji", "Yui", "Takumi", "Naomi", "Daichi", "Emi"),
        ("Tanaka", "Sato", "Yamamoto", "Kobayashi", "Watanabe", "Mori"),
    ),
    (
        ("Oksana", "Andriy", "Katarzyna", "Piotr", "Ivana", "Milan", "Zofia", "Taras"),
        ("Kovalenko", "Nowak", "Shevchenko", "Horvat", "Zielińska", "Bondar", "Petrović"),
    ),
    (
        ("Beatriz", "João", "Camila", "Thiago", "Larissa", "Caio", "Inês"),
        ("Silva", "Oliveira", "Souza", "Carvalho", "Pereira", "Almeida"),
    ),
    (
        ("Talia", "Ezra", "Noa", "Asher", "Miriam", "Gideon", "Dalia"),
        ("Cohen", "Mizrahi", "Rosen", "Levy", "Shapiro", "Peretz"),
    ),
    (
        ("Leilani", "Sione", "Mele", "Tavita", "Kalani", "Sina"),
        ("Fonoti", "Tupua", "Kealoha", "Latu", "Mahoe", "Taufa"),
    ),
    (
        ("Dakota", "Nizhoni", "Ahiga", "Winona", "Shilah", "Aiyana"),
        ("Begay", "Tsosie", "Yazzie", "Benally", "Nez", "Chee"),
    ),
)

HOME_TIMEZONE = "America/Los_Angeles"
OTHER_TIMEZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Mexico_City",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Warsaw",
    "Africa/Lagos",
    "Africa/Addis_Ababa",
    "Asia/Kolkata",
    "Asia/Manila",
    "Asia/Tokyo",
)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
WEEKEND = ("sat", "sun")
WEEKDAY_HOURS = (
    ("18:00", "21:00"),
    ("17:30", "20:30"),
    ("19:00", "22:00"),
    ("20:00", "24:00"),
    ("12:00", "13:30"),
    ("07:00", "09:00"),
    ("09:00", "15:00"),
)
WEEKEND_HOURS = (("10:00", "14:00"), ("09:00", "12:00"), ("13:00", "18:00"))

# Starts and ends of one meeting in the time zone of Los Angeles.
TEAM_MEETINGS = (("18:00", "19:00"), ("18:30", "20:00"), ("19:00", "20:00"), ("19:00", "20:30"), ("20:00", "21:00"))
SIDE_MEETINGS = (
    "Onboarding hour",
    "Design and research sync",
    "Developer working session",
    "Planning with the leads",
)
SIDE_MEETING_HOURS = (("12:00", "13:00"), ("17:00", "18:00"), ("18:00", "19:00"), ("19:30", "20:30"))
