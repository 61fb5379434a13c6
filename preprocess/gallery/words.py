"""Invented names, titles and dates."""

import numpy as np


def _listed(text: str) -> list[str]:
    return text.split(",")


FIRST = _listed(
    "Adèle,Anselm,Béla,Bruna,Casimir,Clémence,Dorotea,Edvard,Elif,Émile,Fanny,Gösta,Hedwig,Ilmari,Ines,Jarmila,João,"
    "Kazimierz,Lotte,Łucja,Maren,Matteo,Nadežda,Odile,Orso,Pèire,Quirin,Ragnhild,Renzo,Saša,Signe,Søren,Tancrède,Thea,"
    "Ulrika,Vasco,Vilmos,Wanda,Yseult,Zdeněk"
)
START = _listed(
    "Al,Ar,Bel,Bra,Cas,Cor,Dal,Dre,El,Fal,Gar,Hol,Is,Jor,Kal,Lam,Mor,Nar,Or,Pel,Quin,Ros,Sar,Tol,Ul,Var,Wen,Zel"
)
MIDDLE = _listed("a,e,i,o,an,en,ber,der,in,ler,mi,na,ra,ri,so,ta,ti,vo")
END = _listed(
    "ard,aud,berg,court,dahl,dini,dóttir,ec,eau,elli,én,ert,esco,ińska,ier,ík,mann,o,ola,one,ov,strøm,sen,ström,y"
)

PLACES = _listed(
    "Arles-sur-Orne,Båstad,Cadaqués,Dunmore,Ébreuil,Furness,Ghent,Húsavík,Łeba,Montreux,Oriel,Pécs,Saint-Véran"
)
HOURS = _listed("Morning,Noon,Evening,Night,First Snow,After the Rain,Thaw,Été,Late Summer,October,Fog,Le Soir")
THINGS = _listed("Apples,Quinces,a Blue Jug,Oysters,Peonies,a Pewter Plate,Lemons,Bottles,a Violin,Bread,Pears,a Hare")
PEOPLE = _listed("the Artist's Mother,a Baker,Señora B.,a Fisherman,Two Sisters,the Lamplighter,a Reader,Frau K.,a Boy")
IDEAS = _listed("Interval,Fugue,Ascent,Threshold,Nearness,Élan,Counterweight,Drift,Signal,Ὠδή,Silence,Untitled")

TITLES = {
    "landscape": ("{place}, {hour}", "The Road to {place}", "{hour} near {place}", "Trees at {place}"),
    "portrait": ("Portrait of {person}", "{person}, {hour}", 'Study for "{idea}", with {person}'),
    "still life": ("Still Life with {thing}", "{thing} and {thing2}", "{thing}, {hour}", "Nature morte: {thing}"),
    "cityscape": ("{place}, the Old Town", "Roofs of {place}", "Église de {place}", "{place} by {hour}"),
    "abstract": ('"{idea}"', "{idea} no. {number}", "{idea}, {idea2}", "Composition {number}"),
    "design": ("{idea} for {place}", "Garden at {place}, {hour}", "Tapestry no. {number}", '{number} Forms ("{idea}")'),
}

STATEMENTS = "404 Not Found\n<html>the picture was moved</html>\n"  # what a failed download leaves


def artist_name(rng: np.random.Generator) -> str:
    """Return an invented first and family name."""
    middle = rng.choice(MIDDLE) if rng.random() < 0.6 else ""
    return f"{rng.choice(FIRST)} {rng.choice(START)}{middle}{rng.choice(END)}"


def title(genre: str, rng: np.random.Generator) -> str:
    """Return an invented title of a picture of `genre`; some have commas, quotes and letters beyond ASCII."""
    (idea, idea2), (thing, thing2) = rng.choice(IDEAS, 2, replace=False), rng.choice(THINGS, 2, replace=False)
    written = str(rng.choice(TITLES[genre])).format(
        place=rng.choice(PLACES), hour=rng.choice(HOURS), person=rng.choice(PEOPLE), number=rng.integers(1, 40),
        idea=idea, idea2=idea2, thing=thing, thing2=thing2,
    )  # fmt: skip
    return written[0].upper() + written[1:]


def date(year: int, rng: np.random.Generator) -> str:
    """Return `year` the way museums' tables hold it: plain, as a float, as a guess, or not at all."""
    return str(rng.choice([f"{year}", f"{year}.0", f"c.{year}", ""], p=[0.35, 0.35, 0.15, 0.15]))
