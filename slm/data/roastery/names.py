"""The words that the business is made of. All people and firms are made up; the cities and countries are real."""

CITIES = (
    "Bath", "Brighton", "Bristol", "Cardiff", "Chester", "Derby", "Dundee", "Durham", "Exeter", "Glasgow",
    "Hull", "Leeds", "Lincoln", "Norwich", "Oxford", "Perth", "Preston", "Swansea", "Truro", "York",
)  # fmt: skip
ORIGINS = (
    "Bolivia", "Brazil", "Burundi", "Colombia", "Costa Rica", "Ecuador", "El Salvador", "Ethiopia",
    "Guatemala", "Honduras", "India", "Indonesia", "Kenya", "Malawi", "Mexico", "Nicaragua", "Panama",
    "Peru", "Rwanda", "Tanzania", "Uganda", "Yemen",
)  # fmt: skip
TRADING_COUNTRIES = ("Belgium", "Germany", "Italy", "Netherlands", "Portugal", "Switzerland")
PROCESSES = (
    "anaerobic", "black honey", "carbonic", "double washed", "honey", "lactic", "natural", "red honey",
    "washed", "wet hulled", "white honey", "yellow honey",
)  # fmt: skip
ROLES = (
    "accountant", "barista trainer", "buyer", "cupper", "driver", "machine engineer", "manager", "packer",
    "roaster", "sales rep", "storekeeper", "warehouse hand",
)  # fmt: skip
METHODS = (
    "bank transfer", "card", "cash", "cheque", "credit note", "direct debit",
    "gift voucher", "invoice finance", "mobile app", "online wallet", "postal order", "standing order",
)  # fmt: skip

# A kind of customer, and what such firms are called.
KINDS = {
    "bakery": ("Bakery", "Bakehouse", "Bread Co"),
    "bookshop": ("Books", "Bookshop"),
    "brewery": ("Brewing", "Brewery"),
    "cafe": ("Cafe", "Coffee House", "Espresso Bar"),
    "caterer": ("Catering", "Kitchens"),
    "deli": ("Deli", "Larder"),
    "grocery": ("Grocers", "Food Hall"),
    "gym": ("Gym", "Climbing Hall"),
    "hotel": ("Hotel", "Inn"),
    "museum": ("Museum", "Gallery"),
    "office": ("Studios", "Partners"),
    "restaurant": ("Bistro", "Dining Room", "Table"),
}
FIRM_WORDS = (
    "Abbey", "Anchor", "Bluebell", "Bramble", "Bridge Street", "Canal", "Castle", "Cedar", "Clover",
    "Copper", "Corner", "Elm Row", "Fern", "Foundry", "Harbour", "Hawthorn", "Heron", "Ivy", "Juniper",
    "Lantern", "Linden", "Lock Keeper", "Magpie", "Maple", "Market", "Meadow", "Mill Lane", "Nettle",
    "Orchard", "Otter", "Pebble", "Quayside", "Railway", "Rowan", "Saffron", "Sparrow", "Tannery",
    "Thistle", "Tollgate", "Willow",
)  # fmt: skip

COFFEE_WORDS = (
    "Amber", "Apricot", "Autumn", "Cinder", "Cloud", "Cobalt", "Crimson", "Dusk", "Ember", "Fig", "Golden",
    "Granite", "Hazel", "Indigo", "Ivory", "Jasmine", "Lunar", "Mango", "Misty", "Ochre", "Plum", "Quartz",
    "Russet", "Scarlet", "Silver", "Summit", "Topaz", "Velvet", "Violet", "Winter",
)  # fmt: skip
COFFEE_ENDINGS = (
    "Canyon", "Creek", "Dawn", "Delta", "Forest", "Garden", "Harvest", "Hill", "Lake", "Mesa", "Orchid",
    "Peak", "Ridge", "River", "Shore", "Spring", "Terrace", "Trail", "Valley", "Waterfall",
)  # fmt: skip

SUPPLIER_WORDS = (
    "Aldea", "Altura", "Baobab", "Bosque", "Cascada", "Cumbre", "Equator", "Highland", "Kilima", "Laguna",
    "Mirador", "Monsoon", "Niebla", "Oriente", "Pacha", "Quetzal", "Sabana", "Tierra", "Umoja", "Volcan",
)  # fmt: skip
SUPPLIER_ENDINGS = ("Cooperative", "Exports", "Farmers Union", "Growers", "Trading")

FIRST_NAMES = (
    "Ada", "Bryn", "Carys", "Dev", "Edda", "Farid", "Greta", "Hugo", "Ines", "Jonah", "Kemi", "Lars",
    "Maeve", "Nadim", "Orla", "Piotr", "Quinn", "Rhea", "Silas", "Tamsin", "Ugo", "Vera", "Wilf", "Yara",
    "Zelda", "Anouk", "Bram", "Cleo", "Dario", "Elin", "Fergus", "Gwen", "Haruki", "Isla", "Jude", "Kofi",
)  # fmt: skip
LAST_NAMES = (
    "Ashdown", "Birkett", "Calloway", "Dunmore", "Eastlake", "Farrow", "Garside", "Holloway", "Inskip",
    "Jarrow", "Kestle", "Lockyer", "Merriman", "Northcott", "Oakden", "Pemberley", "Quillan", "Ravensworth",
    "Selwood", "Tranter", "Underhill", "Venner", "Whitlow", "Yarwood",
)  # fmt: skip
MAIL_HOSTS = ("brewmail.example", "postbox.example", "shopmail.example")
