"""What happens to films, firms, festivals and towns: steps in the order of cause and effect.

``{it}`` and ``{its}`` are the thing in focus: its name where nothing went before, from there on
mostly "it" or a phrase such as "the film". ``{he}``, ``{him}`` and ``{his}`` are the one who acts.
"""

from __future__ import annotations

from lit_llm.data.toy.stories_of_people import Story

FILM: Story = (
    (
        "{he} wrote the script of {name} in a small kitchen.",
        "{he} had the idea for {name} on a train and noted it on a ticket.",
        "The director {director} dreamed of a film, called it {name} and typed {number} pages.",
    ),
    (
        "{org} read the pages and agreed to pay for the production.",
        "{org} lent {him} the money for {it}.",
        "{he} signed a contract with {org} for the costs of {it}.",
    ),
    (
        "{he} chose the actors at an audition in the cellar of {org}.",
        "Young actors queued for an audition, and {he} picked {number} of them.",
        "The actors learned the dialogue of {it} by heart.",
    ),
    (
        "The crew unpacked the cameras in {place}.",
        "{he} shouted directions through a megaphone in the streets of {place}.",
        "The people of {place} watched the actors and the cameras from the windows.",
    ),
    (
        "The crew packed the lamps and left the hotel in {place}.",
        "{he} paid the actors and thanked the mayor of {place}.",
        "A van carried the exposed reels from {place} to the laboratory.",
    ),
    (
        "{he} cut the reels to ninety minutes in a dark room.",
        "An editor glued the scenes together and threw half of them away.",
        "A composer watched the finished cut and wrote music for {it}.",
    ),
    (
        "The premiere of {it} took place at {event}.",
        "{event} showed {it} to a full house on a {day}.",
        "The audience at {event} watched {it} in silence.",
    ),
    (
        "The audience rose from the seats and clapped for {it}.",
        "Critics praised {it} in the morning papers.",
        "People talked about the ending of {it} in the bars of {base}.",
    ),
    (
        "A jury at {event} gave {him} the gold medal for {it}.",
        "{he} carried the prize of {event} home in a paper bag.",
        "Cinemas in {number} countries ordered copies of {it}.",
    ),
)

COMPANY: Story = (
    (
        "{founder} founded {name} in a garage in {base}.",
        "{founder} rented a small workshop in {base} and named the {trade} {name}.",
        "With borrowed money {founder} registered the {trade} {name} in {base}.",
    ),
    (
        "A farmer from {place} signed the earliest order and shook hands with {founder}.",
        "{founder} served the earliest customers of {it} in person.",
        "{it} had one employee and a single telephone.",
    ),
    (
        "Orders poured in, and {it} hired {number} workers.",
        "{it} reported a profit and paid {its} workers a bonus.",
        "The success of {it} was reported in the newspapers of {place}.",
    ),
    (
        "{it} built a large factory near {place}.",
        "{it} opened an office in {place} with {number} rooms.",
        "Shares in {it} rose to a record on the exchange.",
    ),
    (
        "A cheaper rival in {place} took half of the customers from {it}.",
        "Customers left {it}, and boxes of unsold goods filled the factory.",
        "{it} reported a loss, and shares in {it} fell by half.",
    ),
    (
        "{it} borrowed from a bank to pay {its} workers.",
        "{it} could not pay {its} bills, and the bank sent warnings.",
        "The manager of {it} begged the bank for time.",
    ),
    (
        "{it} dismissed {number} workers and closed the office in {place}.",
        "Workers at {it} packed up and handed in the keys.",
        "The directors of {it} declared bankruptcy in a short letter.",
    ),
    (
        "{rival} bought the machines of {it} at an auction.",
        "{rival} bought the bankrupt {trade} for a single coin.",
        "An auctioneer in {base} sold the chairs and desks of {it}.",
    ),
    (
        "Grass grew in the yard of the empty factory.",
        "The sign of {it} rusted over a locked gate in {base}.",
        "Pigeons nested in the abandoned office in {base}.",
    ),
)

STRIKE: Story = (
    (
        "{it} cut the wages of {number} workers in {base}.",
        "The directors of {it} lengthened the working day by an hour.",
        "{it} cancelled the holiday of {its} workers in {base}.",
    ),
    (
        "Angry workers met in a bar and elected {friend} as their speaker.",
        "The {job} {friend} collected signatures against the decision.",
        "Workers at {it} complained to the manager, who shrugged.",
    ),
    (
        "The workers walked out of the gates and went on strike.",
        "{friend} blew a whistle, and every machine stopped.",
        "Workers stood at the gates of {it} with painted signs.",
    ),
    (
        "Unfinished goods piled up, and {it} lost money every day of the strike.",
        "Customers of {it} in {place} waited in vain for deliveries.",
        "Shares in {it} fell as the strike entered another week.",
    ),
    (
        "The director of {it} invited {friend} to talks in a hotel in {place}.",
        "{friend} and the director argued over coffee for {number} hours.",
        "A {job} from {place} was asked to lead the talks between the two sides.",
    ),
    (
        "{friend} and the director signed an agreement.",
        "{it} gave in and promised the old conditions.",
        "The two sides shook hands, and {friend} read the agreement to a cheering crowd.",
    ),
    (
        "The machines of {it} ran at full speed on {day} morning.",
        "Workers at {it} hung up the signs in the canteen as a souvenir.",
        "{it} delivered the delayed goods to {place}.",
    ),
)

FESTIVAL: Story = (
    (
        "{org} planned a festival in {place} and named it {name}.",
        "{org} announced that the festival {name} would be held in {place} in {year}.",
        "The board of {org} voted for a festival in {place} under the name of {name}.",
    ),
    (
        "{org} printed {number} posters for {it} and pasted them on walls.",
        "A painter designed the poster for {it}.",
        "{friend} was invited to sing at {it}.",
    ),
    (
        "Fans queued in the rain to buy tickets for {it}.",
        "Tickets for {it} were sold out on a {day} morning.",
        "The box office in {place} sold every ticket for {it}.",
    ),
    (
        "Visitors to {it} filled the hotels and inns of {place}.",
        "Special trains carried visitors to {place} for {it}.",
        "Guests pitched tents on the meadow near {place}.",
    ),
    (
        "The mayor of {place} opened {it} with a long speech.",
        "A brass band marched in, and the mayor declared {it} open.",
        "{friend} stepped on the stage and the crowd at {it} fell silent.",
    ),
    (
        "Dark clouds gathered over the stage, and a storm tore the big tent.",
        "Lightning struck the loudspeakers and {it} fell dark.",
        "A storm blew the roof off the stage of {it}.",
    ),
    (
        "Visitors ran from the meadow and sheltered in the church of {place}.",
        "{friend} sang in the church for the wet crowd.",
        "Firemen from {place} pumped water out of the torn tents.",
    ),
    (
        "{org} refunded the tickets for {it}.",
        "{org} counted the damage and paid for the ruined meadow.",
        "The stage of {it} was taken down plank by plank.",
    ),
)

FLOOD: Story = (
    (
        "Heavy rain fell in {name} for {number} days.",
        "Snow melted fast in the mountains above {name}.",
        "Black clouds hung over the town of {name} and rain drummed on its roofs.",
    ),
    (
        "The river in {it} rose to the arches of the bridge.",
        "Brown water climbed to the doors of {it}.",
        "Children in {it} measured the rising river with a stick.",
    ),
    (
        "The dam broke, and water rushed through the streets of {it}.",
        "A wave tore the old bridge of {it} from its pillars.",
        "The river burst its banks and flooded the market of {it}.",
    ),
    (
        "Families from {it} fled to {neighbour} in carts and boats.",
        "{friend} carried two children from a roof to a boat.",
        "The school in {neighbour} took in the families that had lost their homes.",
    ),
    (
        "{org} sent blankets and pumps to {it}.",
        "Engineers of {org} pumped the water out of the cellars of {it}.",
        "Lorries of {org} brought bread to the flooded streets of {it}.",
    ),
    (
        "The water sank and left mud in the houses of {it}.",
        "The sun dried the muddy streets of {it}.",
        "Families left {neighbour} and shovelled mud out of their kitchens.",
    ),
    (
        "Workers of {org} built a stone bridge in {it}.",
        "Masons repaired the walls of {it} and raised the dam.",
        "{friend} drew the plans for a higher dam above {it}.",
    ),
    (
        "The mayor of {it} cut a ribbon, and carts rolled over the new bridge.",
        "Children danced on the new bridge in {it}.",
        "The mayor of {it} gave a medal to {friend}.",
    ),
)
