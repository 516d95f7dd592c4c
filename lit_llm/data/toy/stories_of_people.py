"""What happens to people: steps in the order of cause and effect, each told in several ways.

``{he}``, ``{him}`` and ``{his}`` are the person in focus: the name where nothing went before,
mostly a pronoun from there on. Other braces are facts of the world or small changeable words.
"""

from __future__ import annotations

Story = tuple[tuple[str, ...], ...]

LIFE: Story = (
    (
        "{he} was born in {birthplace}, the child of a {job2}.",
        "{he} came into the world in {birthplace} on a cold {season} night.",
        "A {job2} of {birthplace} and his wife had a baby and named the child {name}.",
        "The parents of {name} kept a small shop in {birthplace} and were glad of the baby.",
    ),
    (
        "{he} learned to read at the village school.",
        "A teacher noticed how well {he} drew animals in the margins of {his} school books.",
        "{he} walked to school with a borrowed coat and a box of chalk.",
    ),
    (
        "{he} left home at eighteen to study in the capital.",
        "{he} passed the entrance examination of the university.",
        "{his} parents sold a cow to pay the fees of the university.",
    ),
    (
        "The university gave {him} a diploma as a {job}.",
        "{he} took {his} degree and bought the tools of a {job}.",
        "The professors wrote {him} a letter that praised a gifted young {job}.",
    ),
    (
        "{org} hired {him} as a {job} on a small salary.",
        "{he} signed a contract with {org}, a {trade} in {base}.",
        "{he} works for {org} in {base}, where the young {job} has a desk by the window.",
    ),
    (
        "The directors of {org} promoted {him} and doubled {his} salary.",
        "{he} rose to be the head of a department with {number} clerks.",
        "{org} gave {him} a larger office and a secretary.",
    ),
    (
        "{he} retired with a pension and cleared the old desk.",
        "Colleagues at {org} gave {him} a gold watch at a farewell dinner.",
        "{he} handed the keys of the office to a successor and kept bees in the garden.",
    ),
    (
        "{he} died in {his} sleep at the age of eighty.",
        "An old heart stopped, and {he} died in a hospital bed.",
        "{he} died of a long illness with {his} family around the bed.",
    ),
    (
        "Hundreds of mourners followed the coffin through the rain.",
        "The family put white flowers on the grave in {birthplace}.",
        "{birthplace} named a street in honour of the dead {job}.",
    ),
)

JOURNEY: Story = (
    (
        "{he} decided to visit {place} and opened a map on the kitchen table.",
        "A letter from {friend} invited {name} to {place}.",
        "{he} dreamed of a holiday in {place} all {season}.",
    ),
    (
        "{he} packed two shirts and a camera in a brown suitcase.",
        "{he} bought a ticket at the station of {birthplace}.",
        "{his} neighbour promised to water the plants and feed the cat.",
    ),
    (
        "The train left {birthplace} with {him} at an open window.",
        "{he} waved from the carriage to the people on the platform.",
        "{his} train pulled out of the station in a cloud of steam.",
    ),
    (
        "Snow on the rails held the carriage for {number} hours in the mountains.",
        "{he} shared bread and cheese with a {job2} in the compartment.",
        "The border guards looked at {his} passport and stamped it.",
    ),
    (
        "{friend} was waiting for {him} on the platform in {place}.",
        "{he} stepped off the train in {place} with stiff legs.",
        "A porter in {place} carried {his} suitcase to a small hotel.",
    ),
    (
        "{he} and {friend} walked through the old streets of {place} for days.",
        "{he} climbed the tower of {place} and took {number} photographs.",
        "{he} sent a postcard of {place} to {his} mother.",
    ),
    (
        "{he} paid the hotel bill and said goodbye to {friend}.",
        "{friend} hugged {him} at the station and wept.",
        "{he} spent the remaining coins on a present and checked out of the hotel.",
    ),
    (
        "Home in {birthplace}, {he} put the photographs into an album.",
        "{his} cat slept on the empty suitcase in {birthplace}.",
        "The neighbour in {birthplace} returned the house key and admired {his} tan.",
    ),
)

ILLNESS: Story = (
    (
        "{he} sat in the rain without a coat to finish a day's work.",
        "{he} drank water from a dirty well near {place}.",
        "{he} shared a room with a coughing child in {place}.",
    ),
    (
        "{he} woke at night with a high fever.",
        "A fever and a cough kept {him} in bed.",
        "{he} shivered under three blankets and could not eat.",
    ),
    (
        "{his} family called the doctor {friend} to the bed.",
        "An ambulance took {him} to the hospital in {place}.",
        "The doctor {friend} came with a black bag and examined {him}.",
    ),
    (
        "{friend} prescribed a bitter medicine and {number} days of rest.",
        "A nurse gave {him} a spoon of medicine every hour.",
        "The doctors in {place} found the cause and gave {him} an injection.",
    ),
    (
        "The medicine worked and {his} fever fell.",
        "{he} asked for soup, and the nurse smiled.",
        "{his} cheeks had colour and {he} sat up in bed.",
    ),
    (
        "{he} was allowed to leave the bed and walk in the garden.",
        "{he} thanked {friend} with a bottle of wine and went home.",
        "The hospital sent {him} home with a bunch of flowers.",
    ),
    (
        "{his} colleagues at {org} put a welcome card on the desk.",
        "{org} was glad to have the healthy {job} at work.",
        "{he} sat at the old desk at {org} and opened a pile of letters.",
    ),
)

THEFT: Story = (
    (
        "{he} inherited a small oil painting of {place}.",
        "{he} bought a silver clock at an auction in {place}.",
        "{his} uncle left {him} a rare violin from {place}.",
    ),
    (
        "{he} showed the treasure to guests and told them its price.",
        "A newspaper printed a photograph of {name} with the treasure.",
        "{his} guests admired the treasure over dinner, and a waiter listened.",
    ),
    (
        "A thief broke the kitchen window at night and took it.",
        "Somebody picked the lock at night and carried it away in a sack.",
        "A burglar climbed over the garden wall and stole it.",
    ),
    (
        "{he} found an empty place on the wall and broken glass on the floor.",
        "{he} came down to breakfast and screamed at the sight of the empty shelf.",
        "{his} dog barked at the open door, and {he} saw the muddy floor.",
    ),
    (
        "{he} called the police in {birthplace} and described the loss.",
        "The inspector {friend} wrote a report at {his} kitchen table.",
        "{he} offered a reward of {number} pounds to the inspector {friend}.",
    ),
    (
        "{friend} found a footprint in the flower bed and followed the trail to {place}.",
        "A pawnbroker in {place} recognised the treasure and told {friend} the name of the seller.",
        "The inspector {friend} searched a barn near {place} and found the sack.",
    ),
    (
        "The police of {place} arrested a waiter at the station.",
        "{friend} put handcuffs on the thief in a bar in {place}.",
        "The thief confessed to {friend} in a cell and wept.",
    ),
    (
        "A judge sentenced the thief to {number} months in prison.",
        "The court gave the treasure to {him} and sent the thief to prison.",
        "{he} shook hands with the judge and took the treasure home.",
    ),
    (
        "{he} had iron bars put in the windows and slept well.",
        "{he} gave the recovered treasure to the museum of {birthplace}.",
        "{friend} received the reward and a letter of thanks from {name}.",
    ),
)
