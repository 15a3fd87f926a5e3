"""The words that the demo business is made of; all people, shops and products are invented."""

CATALOGUE: dict[str, tuple[str, dict[str, str]]] = {
    "Coffee": (
        "Whole beans, roasted each week",
        {
            "Harbour Blend 1 kg": "21.90",
            "Harbour Blend 250 g": "7.40",
            "Night Ferry Espresso 1 kg": "24.50",
            "Night Ferry Espresso 250 g": "8.20",
            "Lowland Decaf 1 kg": "26.80",
            "Saltmarsh Single Origin 250 g": "10.90",
            "Cloud Terrace Single Origin 250 g": "12.40",
            "Cold Brew Coarse 1 kg": "22.60",
        },
    ),
    "Tea": (
        "Loose leaf and bags",
        {
            "Morning Watch Breakfast 500 g": "18.30",
            "Lantern Earl Grey 500 g": "19.70",
            "Reed Green Sencha 250 g": "16.20",
            "Fogbank Oolong 250 g": "21.00",
            "Hedgerow Mint 250 g": "11.50",
            "Tideline Chai 500 g": "17.80",
            "Quiet Hour Camomile 250 g": "12.10",
        },
    ),
    "Brewing": (
        "Makers, filters and kettles",
        {
            "Pour-over Set": "39.00",
            "Paper Filters 100": "5.90",
            "French Press 1 l": "34.50",
            "Gooseneck Kettle": "79.00",
            "Cold Brew Tower": "129.00",
            "Tea Infuser Jug": "27.40",
            "Travel Brewer": "31.20",
        },
    ),
    "Grinders": (
        "By hand and electric",
        {
            "Hand Grinder Wren": "68.00",
            "Hand Grinder Heron": "112.00",
            "Shop Grinder 64": "649.00",
            "Shop Grinder 83": "1190.00",
            "Burr Set 64": "84.00",
        },
    ),
    "Machines": (
        "Espresso machines and batch brewers",
        {
            "Batch Brewer Two": "890.00",
            "Espresso One Group": "2150.00",
            "Espresso Two Group": "3980.00",
            "Milk Steamer": "420.00",
            "Water Softener": "165.00",
        },
    ),
    "Tableware": (
        "Cups, glasses and trays",
        {
            "Espresso Cup, set of 6": "32.40",
            "Cappuccino Cup, set of 6": "41.70",
            "Tea Glass, set of 4": "23.80",
            "Oak Serving Tray": "29.90",
            "Milk Jug 350 ml": "19.60",
            "Sugar Bowl": "14.20",
        },
    ),
    "Pantry": (
        "What goes with the cup",
        {
            "Oat Drink, case of 12": "25.20",
            "Cane Sugar 5 kg": "12.90",
            "Hazelnut Syrup 1 l": "9.80",
            "Vanilla Syrup 1 l": "9.80",
            "Butter Biscuits, case of 40": "28.00",
            "Dark Chocolate Drops 2.5 kg": "33.60",
        },
    ),
    "Cleaning": (
        "Care for machines and grinders",
        {
            "Machine Cleaner 900 g": "13.40",
            "Grinder Cleaner 430 g": "18.90",
            "Descaler 1 l": "8.70",
            "Steam Wand Cleaner 1 l": "10.60",
            "Brush Set": "11.90",
        },
    ),
}
"""Category → description, product → price."""

STAFF: tuple[tuple[str, str, str, int | None, str, str], ...] = (
    ("Orla", "Quillmarsh", "Managing Director", None, "2011-03-01", "98000.00"),
    ("Tobin", "Ashgrove", "Head of Sales", 1, "2013-06-01", "74000.00"),
    ("Senna", "Vandermoor", "Head of Operations", 1, "2014-01-15", "72000.00"),
    ("Idris", "Fennick", "Head of Finance", 1, "2016-09-01", "71000.00"),
    ("Maura", "Lindqvale", "Account Manager", 2, "2017-04-01", "52000.00"),
    ("Rafe", "Okontree", "Account Manager", 2, "2018-02-01", "51000.00"),
    ("Yuna", "Brackwater", "Account Manager", 2, "2020-10-01", "48500.00"),
    ("Pavel", "Thornby", "Order Desk", 2, "2021-05-01", "39000.00"),
    ("Leila", "Sandhurne", "Order Desk", 2, "2022-03-01", "38000.00"),
    ("Bram", "Holloway-Finch", "Roaster", 3, "2015-08-01", "46000.00"),
    ("Anouk", "Pellworth", "Roaster", 3, "2019-11-01", "44000.00"),
    ("Mateo", "Dunmarrow", "Warehouse", 3, "2020-01-15", "37000.00"),
    ("Freya", "Carrowick", "Warehouse", 3, "2023-07-01", "35500.00"),
    ("Jonas", "Eversley-Pike", "Bookkeeper", 4, "2021-09-01", "43000.00"),
)
"""First name, last name, job, number of the manager in this list, hired on, salary."""

SHOP_FIRST = (
    *("Amber", "Blue", "Copper", "Corner", "Cosy", "Crooked", "Early", "Fern", "Golden", "Green", "Hidden", "Iron"),
    *("Juniper", "Little", "Maple", "Mill", "Old", "Paper", "Quiet", "Red", "River", "Silver", "Stone", "Willow"),
)
SHOP_LAST = (
    *("Anchor Café", "Bakehouse", "Bean Bar", "Bistro", "Books & Brew", "Canteen", "Delicatessen", "Espresso Bar"),
    *("Garden Café", "Grocery", "Kitchen", "Lantern", "Pantry", "Studio Offices", "Tearoom", "Workshop"),
)
FIRST_NAMES = (
    *("Ada", "Bo", "Cleo", "Dario", "Edda", "Finn", "Greta", "Hugo", "Ines", "Jory", "Kaya", "Lars", "Mina", "Nils"),
    *("Oona", "Piet", "Quin", "Rosa", "Sami", "Tilda", "Ugo", "Vera", "Wim", "Xenia", "Yara", "Zeno"),
)
LAST_NAMES = (
    *("Alderbeck", "Birchwen", "Colmarch", "Drayfield", "Elmscott", "Farrowin", "Gladesmoor", "Hartwyn", "Islewood"),
    *("Jarrowby", "Kestrelle", "Larkmead", "Moorcant", "Northgale", "Otterburne", "Penhallow", "Rushmere", "Sedgewyn"),
)
CITIES = (
    *(
        ("Hamburg", "DE"),
        ("Bremen", "DE"),
        ("Leipzig", "DE"),
        ("Freiburg", "DE"),
        ("Utrecht", "NL"),
        ("Groningen", "NL"),
    ),
    *(("Ghent", "BE"), ("Lille", "FR"), ("Nantes", "FR"), ("Lyon", "FR"), ("Vienna", "AT"), ("Graz", "AT")),
    *(("Basel", "CH"), ("Aarhus", "DK"), ("Malmö", "SE"), ("Turin", "IT"), ("Porto", "PT"), ("Bilbao", "ES")),
)
NOTES = (
    "Deliver to the back door before 10.",
    "Call ahead.",
    "Please send the invoice by e-mail.",
    "Gift wrapping for the cups.",
    "Grind the espresso for filter.",
    "Part of the autumn tasting.",
)
