"""Word lists by meaning: what planted features are made of. Fixed by hash (see `design.PLANTED_HASH`)."""

LISTS: dict[str, str] = {
    "months": "january february march april june july august september october november december",
    "weekdays": "monday tuesday wednesday thursday friday saturday sunday weekend weekday",
    "colours": "red blue green black white yellow brown orange pink purple grey gray golden violet silver crimson",
    "kinship": (
        "father mother son daughter brother sister wife husband parent parents child children family uncle "
        "aunt cousin nephew grandson grandfather grandmother brothers sons siblings twins ancestor ancestors "
        "heir widow"
    ),
    "people": (
        "man woman men women boy girl child children people person persons individual individuals adult "
        "adults human humans inhabitants residents youth"
    ),
    "artists": (
        "writer poet painter composer novelist playwright singer actor actress artist musician author "
        "architect filmmaker sculptor pianist guitarist songwriter director producer poets actors artists "
        "authors writers composers screenwriter photographer dancer essayist rapper designer"
    ),
    "scholars": (
        "philosopher mathematician physicist chemist scientist astronomer biologist economist psychologist "
        "engineer inventor historian physician theologian naturalist anthropologist sociologist linguist "
        "geologist scholar scholars theorist scientists botanist professor logician polymath"
    ),
    "politics": (
        "politician president minister statesman leader activist diplomat governor senator chancellor mayor "
        "revolutionary lawyer general commander founder ruler dictator officer leaders presidents delegate"
    ),
    "royalty": (
        "king queen emperor prince princess duke shah sultan pharaoh tsar empress monarch caliph lord kings "
        "dynasty reign throne crown royal imperial khan count kingdom"
    ),
    "trades": (
        "farmer merchant miller baker smith tailor carpenter fisherman businessman businesswoman entrepreneur "
        "industrialist worker workers player players explorer navigator soldier soldiers priest teacher "
        "driver pilot nurse"
    ),
    "faiths": (
        "christian islam muslim jewish hindu buddhist catholic orthodox protestant christianity judaism "
        "buddhism hinduism islamic christians muslims jews lutheran sunni shia methodist zoroastrianism sikh "
        "taoism"
    ),
    "worship": (
        "god gods goddess church temple deity deities holy sacred bible prayer worship priest pope saint "
        "bishop spirit soul divine prophet ritual mosque monk angel heaven demon religious religion religions"
    ),
    "european countries": (
        "france germany italy spain portugal england scotland ireland wales poland austria hungary greece "
        "sweden norway denmark finland netherlands belgium switzerland russia ukraine romania bulgaria serbia "
        "croatia britain iceland kosovo albania"
    ),
    "asian countries": (
        "china japan india korea pakistan iran iraq indonesia turkey vietnam thailand nepal myanmar "
        "afghanistan bangladesh israel syria yemen mongolia malaysia philippines singapore taiwan cambodia "
        "laos oman jordan lebanon kuwait kazakhstan uzbekistan"
    ),
    "african countries": (
        "egypt nigeria ethiopia kenya sudan ghana algeria morocco libya tunisia somalia angola mozambique "
        "zambia zimbabwe uganda tanzania senegal mali niger chad cameroon rwanda congo madagascar namibia"
    ),
    "american countries": (
        "mexico canada brazil argentina chile peru colombia venezuela bolivia ecuador cuba haiti jamaica "
        "panama guatemala uruguay paraguay honduras nicaragua"
    ),
    "states of the union": (
        "california texas florida virginia ohio michigan illinois georgia carolina alaska hawaii colorado "
        "arizona nevada oregon utah montana wyoming kansas missouri louisiana mississippi alabama tennessee "
        "kentucky maryland massachusetts pennsylvania minnesota wisconsin iowa nebraska jersey"
    ),
    "european peoples": (
        "french german italian spanish portuguese english scottish irish welsh polish austrian hungarian "
        "swedish norwegian danish finnish dutch belgian swiss russian ukrainian romanian bulgarian serbian "
        "british european"
    ),
    "other peoples": (
        "chinese japanese indian korean pakistani iranian persian arab turkish egyptian african mexican "
        "canadian brazilian american australian asian vietnamese thai burmese mongol indonesian israeli "
        "ottoman tibetan"
    ),
    "ancients": (
        "roman greek latin byzantine babylonian assyrian sumerian hellenistic celtic gothic etruscan "
        "phoenician spartan athenian trojan minoan mycenaean romans greeks gallic germanic carthage rome "
        "athens"
    ),
    "continents": "europe asia africa america australia antarctica oceania americas eurasia",
    "cities": (
        "london paris rome berlin athens vienna moscow beijing tokyo delhi cairo istanbul chicago boston "
        "washington madrid lisbon amsterdam munich frankfurt shanghai mumbai sydney brisbane toronto kiev "
        "jerusalem baghdad"
    ),
    "named waters": (
        "atlantic pacific mediterranean baltic caspian caribbean nile amazon danube rhine ganges indus tigris "
        "euphrates volga mekong thames arctic adriatic aegean mississippi"
    ),
    "four winds": "north south east west",
    "winds between": (
        "northern southern eastern western northeast northwest southeast southwest northeastern southwestern "
        "northwestern southeastern"
    ),
    "waters": (
        "river lake sea ocean bay gulf strait canal coast delta basin shore harbor harbour stream rivers "
        "lakes oceans seas waters channel reef tributary estuary lagoon waterfall"
    ),
    "landforms": (
        "mountain mountains hill hills valley island islands plateau desert peninsula plain plains glacier "
        "volcano cave cliff ridge canyon archipelago cape massif range ranges forest coastline"
    ),
    "settlements": (
        "city town village capital municipality metropolis suburb cities towns villages settlement "
        "settlements urban metropolitan downtown"
    ),
    "divisions of land": (
        "state states province provinces county district region regions territory territories department "
        "prefecture governorate municipality republic border borders"
    ),
    "outer body": (
        "head hand hands foot feet arm arms leg legs eye eyes ear ears nose mouth face neck hair skin finger "
        "fingers toe toes tail wing wings tooth teeth tongue back shoulder"
    ),
    "inner body": (
        "heart brain blood bone bones lung lungs liver kidney stomach muscle muscles nerve nerves organ "
        "organs tissue tissues gland cell cells body bodies vein artery spine"
    ),
    "illness": (
        "disease diseases symptoms syndrome disorder disorders pain cancer infection fever virus bacteria "
        "illness injury treatment medical medicine drug drugs patient patients therapy surgery diagnosis "
        "chronic"
    ),
    "mammals": (
        "dog dogs cat cats horse horses cow cattle sheep goat pig wolf bear lion tiger elephant monkey ape "
        "rabbit mouse rat bat bats whale dolphin seal deer mammal mammals squirrel squirrels rhinoceros "
        "primates fox"
    ),
    "other animals": (
        "bird birds fish fishes insect insects snake frog turtle shark eagle owl chicken duck ant bee bees "
        "butterfly spider beetle lizard crocodile dinosaur dinosaurs reptiles worm crab animal animals"
    ),
    "plants": (
        "tree trees plant plants flower flowers leaf leaves seed seeds root roots grass fruit shrub shrubs "
        "herb crop crops forest wood stem bark moss fern flowering branch"
    ),
    "food": (
        "food foods bread rice wheat meat cheese sugar salt milk egg eggs fruit vegetable vegetables maize "
        "corn potato soup sauce honey butter nut nuts bean beans flour meal cuisine"
    ),
    "drinks": "wine beer tea coffee water milk juice whisky alcohol drink drinks beverage drinking",
    "metals": (
        "iron copper gold silver lead tin zinc steel bronze aluminium nickel mercury metal metals platinum "
        "brass titanium metallic chromium"
    ),
    "elements": (
        "hydrogen oxygen carbon nitrogen helium sodium chlorine sulfur phosphorus potassium calcium magnesium "
        "uranium iodine lithium neon argon silicon fluorine radon"
    ),
    "chemistry": (
        "acid acids compound compounds molecule molecules ion ions reaction reactions chemical solution "
        "solvent salt salts oxide substance substances isotope isotopes chemistry crystal molecular organic"
    ),
    "physics": (
        "energy force mass velocity momentum pressure heat temperature motion gravity density acceleration "
        "speed power voltage current charge frequency wave waves magnetic electric kinetic thermal"
    ),
    "particles": (
        "electron electrons proton protons neutron neutrons photon atom atoms quark particle particles "
        "nucleus atomic nuclear quantum boson"
    ),
    "heavens": (
        "star stars planet planets moon moons sun galaxy orbit solar comet asteroid universe sky "
        "constellation mars venus jupiter saturn mercury satellite nebula supernova orion lunar meteor crater"
    ),
    "weather": (
        "rain snow wind winds storm storms climate temperature cloud clouds humidity thunder lightning "
        "tropical temperate dry wet cold warm hot freezing ice drought flood weather atmosphere"
    ),
    "spans of time": (
        "year years day days hour hours month months week weeks century centuries decade decades minute "
        "minutes second era age ages period millennium millennia"
    ),
    "seasons and hours": (
        "spring summer autumn winter morning evening night noon midnight dawn season seasons today annual "
        "daily yearly weekly"
    ),
    "measures": (
        "km mi m ft feet metres metre miles mile kilometres kilometers meters inch inches acres tons kg gram "
        "sq hectares litres pounds percent"
    ),
    "ordinals": "first second third fourth fifth sixth seventh eighth ninth tenth last",
    "cardinals": "two three four five six seven eight nine ten eleven twelve dozen twenty",
    "great numbers": "hundred hundreds thousand thousands million millions billion billions trillion",
    "quantities": "many several few some various numerous most all both each every any much more",
    "instruments": (
        "piano guitar violin drum drums flute trumpet organ bass cello harp keyboard instrument instruments "
        "bell horn saxophone orchestra string strings"
    ),
    "music": (
        "music musical song songs album opera symphony rock jazz pop blues folk rhythm melody harmony band "
        "concert singing choir composition"
    ),
    "letters and stage": (
        "book books novel novels poem poems poetry play plays story stories literature fiction theatre "
        "theater drama epic tale essay verse prose comedy tragedy myth mythology"
    ),
    "pictures": (
        "film films painting paintings photograph image images picture cinema movie sculpture portrait "
        "drawing television animation camera video"
    ),
    "sports": (
        "football basketball baseball cricket rugby tennis golf hockey swimming boxing sport sports olympic "
        "olympics team teams league match cup tournament athlete player players championship game games"
    ),
    "vehicles": (
        "car cars ship ships boat train trains aircraft airplane bus truck bicycle vehicle vehicles rocket "
        "spacecraft submarine railway locomotive wheel wheels engine"
    ),
    "buildings": (
        "house houses building buildings palace castle tower bridge wall walls temple room hall church home "
        "door roof monument dam fort museum"
    ),
    "war": (
        "war wars army battle military forces troops weapon weapons navy soldiers combat siege invasion "
        "conquest fought defeat victory warfare armed conflict rebellion attack"
    ),
    "law": (
        "law laws court legal crime criminal justice judge rights trial prison police murder illegal theft "
        "punishment treaty constitution act legislation"
    ),
    "government": (
        "government parliament congress senate election party democracy communist socialist democratic "
        "political federal republic vote policy constitution administration state"
    ),
    "money": (
        "money bank trade market price economy economic financial tax cost currency dollar wealth gdp "
        "business company goods industry commercial debt income"
    ),
    "clothing": (
        "clothing clothes dress shirt hat shoe shoes coat skirt fabric cotton wool silk leather textile "
        "sewing jewellery costume uniform trousers"
    ),
    "materials": (
        "wood stone glass paper plastic rubber clay concrete brick fiber sand rock rocks oil coal gas fuel "
        "material materials ceramic mineral"
    ),
    "tools": (
        "tool tools machine machines knife hammer engine wheel pen device devices equipment pump lever screw "
        "needle blade battery instrument apparatus"
    ),
    "mathematics": (
        "matrix vector polynomial integral equation theorem algebra geometry function functions integer "
        "integers finite graph graphs root roots variable variables sum product proof"
    ),
    "shapes": (
        "circle square triangle line lines point sphere cube angle plane curve axis diameter edge edges "
        "polygon spiral ring round flat parallel vertical"
    ),
    "greek letters": (
        "alpha beta gamma delta epsilon zeta eta theta lambda mu nu rho sigma tau phi psi omega pi kappa"
    ),
    "language": (
        "language languages word words grammar verb noun letter letters alphabet script dialect dialects "
        "spoken speakers text texts written english term terms name phrase"
    ),
    "ranks of life": (
        "species genus family order class phylum subspecies clade genera families subfamily superfamily "
        "kingdom suborder subgenus taxon"
    ),
    "learning": (
        "science sciences theory study studies research knowledge university school education academic "
        "scientific experiment method philosophy learning college student students"
    ),
    "mind": (
        "mind thought thoughts emotion emotional feeling memory perception belief beliefs consciousness "
        "behavior psychology mental psychological cognitive desire love fear experience idea ideas"
    ),
    "moving": (
        "go move moved travel run flow flows walk fly came come moving moves went left enter reach "
        "crossed passing traveling spread migrate"
    ),
    "making": (
        "made built created formed produced designed developed invented founded established constructed "
        "published written introduced composed"
    ),
    "calling": ("called named known referred termed described defined considered regarded classified nicknamed dubbed"),
    "living and dying": "born died killed death life lived living dead alive birth survived die dying murdered",
    "modals": "may can could would should must will might shall",
    "prepositions of place": (
        "on at under over above below near between along across through around within beyond behind inside outside"
    ),
    "prepositions of time": "during since until after before throughout till",
    "joining words": "or but nor yet so however thus therefore although though because while whereas",
    "he": "he his him himself",
    "she": "she her hers herself",
    "they": "they them their theirs themselves",
    "who": "which who that whose whom where when whereby what how why",
    "negation": "not no never none nor neither cannot without nothing non nobody",
    "being": "are was were be been being am",
    "having": "has have had having",
    "comparatives": (
        "larger smaller greater higher lower longer better older wider more less stronger earlier later "
        "further broader closer fewer deeper faster"
    ),
    "superlatives": (
        "largest highest oldest greatest most least best longest smallest earliest tallest lowest deepest "
        "strongest latest richest youngest"
    ),
    "how often": (
        "often usually commonly sometimes typically generally frequently always rarely never normally mostly "
        "mainly primarily largely"
    ),
    "sizes": "large small great big tall short long wide high huge vast tiny massive narrow broad deep thin thick",
    "ages": "old new ancient modern early late recent young medieval contemporary former prehistoric current",
    "given names": (
        "john william george charles james thomas peter paul louis joseph mary johann albert robert richard "
        "henry david michael edward alexander elizabeth anne frederick martin francis carl"
    ),
    "code values": "true false none null nan inf",
    "containers in code": "list dict tuple set int str float bool len range type object array",
    "ways in code": "args kwargs arg param params cls obj func result index key keys value values item items",
    "nodes": "node nodes edge edges graph graphs neighbor nbr nbrs adj adjacency degree path cycle tree",
    "trigonometry": "sin cos tan cot sec csc exp log sqrt acos asin atan sinh cosh tanh",
    "counting code": "i j k n m x y z",
}
