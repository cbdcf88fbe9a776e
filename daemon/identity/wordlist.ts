/** 256 plain words, one a byte: no two begin with the same four letters, so a word misheard or cut short is still told apart. */
export const WORDS: readonly string[] = `
acorn actor adobe album alder alloy amber anchor angle anvil apple apron arctic arrow aspen atlas attic autumn
badge bagel bamboo banjo barley basin beacon beetle bench berry bishop bison blanket blossom bonfire border
bottle bridge bronze brush bucket buffalo button cabin cactus camel candle canyon carpet castle cedar cello
chapel cherry chimney cider cinema circus citrus clock clover coast cobalt cocoa comet copper coral cotton
coyote cradle crater cricket crystal curtain cypress daisy dancer dapple decade delta desert diamond dinner
dolphin domino donkey dragon drummer eagle easel echo eclipse elbow elder elephant ember emerald engine epoch
equator ermine estate evening fabric falcon farmer feather fennel ferry fiddle finch fjord flame flute forest
fossil fountain fresco frost galaxy garden garlic gazelle gecko geyser ginger giraffe glacier goblet gondola gopher
granite grape guitar gypsum hammer harbor hazel helmet heron hickory hippo hockey honey horizon hornet husky
iceberg igloo indigo inlet iris island ivory jacket jaguar jasmine jelly jersey jigsaw jungle juniper kayak
kernel kettle kidney kitten kiwi koala ladder lagoon lantern lasso laurel lemon leopard lettuce lilac lizard
lobster locket lotus lumber lynx magnet mango maple marble meadow melon meteor mirror mitten monkey mosaic
mountain muffin mustard napkin nectar needle nephew nickel noodle nugget nutmeg oasis ocean octave olive onion
opera orbit orchid osprey otter oyster paddle palace panda parrot peanut pebble pelican pepper piano pigeon
pillow pirate planet plum pocket polar pony poppy potato prairie prism puffin pumpkin python quartz quilt quiver
rabbit radar raisin raven ribbon river robin rocket rose rudder saddle salmon sandal sapphire
`
  .trim()
  .split(/\s+/)
