"""Engineering units and their UNECE Recommendation 20 codes (OPC 10000-8 section 5.6.4.3).

The UnitId is the common code as base-256 digits: "MTR" is 0x4D5452. A unit that isn't in the table
is published by its display name alone, never under a guessed code.
"""

from __future__ import annotations

from typing import Final, NamedTuple

UNECE: Final = "http://www.opcfoundation.org/UA/units/un/cefact"

_CODES: Final[dict[str, tuple[str, str]]] = {
    "%": ("P1", "percent"),
    "A": ("AMP", "ampere"),
    "Ah": ("AMH", "ampere hour"),
    "bar": ("BAR", "bar"),
    "°C": ("CEL", "degree Celsius"),
    "cm": ("CMT", "centimetre"),
    "d": ("DAY", "day"),
    "dB": ("2N", "decibel"),
    "°": ("DD", "degree [unit of angle]"),
    "°F": ("FAH", "degree Fahrenheit"),
    "g": ("GRM", "gram"),
    "h": ("HUR", "hour"),
    "hPa": ("A97", "hectopascal"),
    "Hz": ("HTZ", "hertz"),
    "J": ("JOU", "joule"),
    "K": ("KEL", "kelvin"),
    "kA": ("B22", "kiloampere"),
    "kg": ("KGM", "kilogram"),
    "kg/h": ("E93", "kilogram per hour"),
    "kg/s": ("KGS", "kilogram per second"),
    "kHz": ("KHZ", "kilohertz"),
    "km": ("KMT", "kilometre"),
    "km/h": ("KMH", "kilometre per hour"),
    "kPa": ("KPA", "kilopascal"),
    "kV": ("KVT", "kilovolt"),
    "kVA": ("KVA", "kilovolt - ampere"),
    "kvar": ("KVR", "kilovar"),
    "kW": ("KWT", "kilowatt"),
    "kWh": ("KWH", "kilowatt hour"),
    "kvarh": ("K3", "kilovolt ampere reactive hour"),
    "l": ("LTR", "litre"),
    "l/h": ("E32", "litre per hour"),
    "l/min": ("L2", "litre per minute"),
    "l/s": ("G51", "litre per second"),
    "m": ("MTR", "metre"),
    "m/s": ("MTS", "metre per second"),
    "m²": ("MTK", "square metre"),
    "m³": ("MTQ", "cubic metre"),
    "m³/h": ("MQH", "cubic metre per hour"),
    "m³/s": ("MQS", "cubic metre per second"),
    "mA": ("4K", "milliampere"),
    "mbar": ("MBR", "millibar"),
    "mg/l": ("M1", "milligram per litre"),
    "MHz": ("MHZ", "megahertz"),
    "min": ("MIN", "minute [unit of time]"),
    "ml": ("MLT", "millilitre"),
    "mm": ("MMT", "millimetre"),
    "MPa": ("MPA", "megapascal"),
    "ms": ("C26", "millisecond"),
    "mV": ("2Z", "millivolt"),
    "MVA": ("MVA", "megavolt - ampere"),
    "MW": ("MAW", "megawatt"),
    "MWh": ("MWH", "megawatt hour"),
    "N": ("NEW", "newton"),
    "Nm": ("NU", "newton metre"),
    "Pa": ("PAL", "pascal"),
    "rad": ("C81", "radian"),
    "rpm": ("RPM", "revolutions per minute"),
    "s": ("SEC", "second [unit of time]"),
    "t": ("TNE", "tonne (metric ton)"),
    "V": ("VLT", "volt"),
    "VA": ("D46", "volt - ampere"),
    "var": ("D44", "var"),
    "W": ("WTT", "watt"),
    "Wh": ("WHR", "watt hour"),
    "W/m²": ("D54", "watt per square metre"),
    "µS/cm": ("G42", "microsiemens per centimetre"),
    "Ω": ("OHM", "ohm"),
}
_SPELLINGS: Final[dict[str, str]] = {
    "degC": "°C",
    "degF": "°F",
    "deg": "°",
    "L": "l",
    "L/h": "l/h",
    "L/min": "l/min",
    "L/s": "l/s",
    "m2": "m²",
    "m3": "m³",
    "m3/h": "m³/h",
    "m3/s": "m³/s",
    "W/m2": "W/m²",
    "VAr": "var",
    "kVAr": "kvar",
    "kVArh": "kvarh",
    "uS/cm": "µS/cm",
    "1/min": "rpm",
    "ohm": "Ω",
}


class Unit(NamedTuple):
    """The fields of an EUInformation; `unit_id` is -1 for a unit without a known code."""

    namespace_uri: str
    unit_id: int
    display_name: str
    description: str


def unit_of(text: str, namespace_uri: str) -> Unit:
    """What to publish for a unit as a person wrote it; unknown ones live in `namespace_uri`."""
    code = _CODES.get(text) or _CODES.get(_SPELLINGS.get(text, ""))
    if code is None:
        return Unit(namespace_uri, -1, text, text)
    return Unit(UNECE, unit_id(code[0]), text, code[1])


def unit_id(common_code: str) -> int:
    """A UNECE common code of up to three characters as a number."""
    return int.from_bytes(common_code.encode("ascii"), "big")
