// 64 colours of each scale, as matplotlib has them: perceptually even, and readable without colour vision.
// python -c "from matplotlib import colormaps; import numpy as np; print(''.join('%02x%02x%02x' % tuple(c) for c in
//   (np.array(colormaps['cividis'](np.linspace(0, 1, 64)))[:, :3] * 255).round().astype(int)))"
const HEX = {
  viridis:
    '44015446075a470d6047136548186a481d6f482374482878472d7b46327e453781443b844240864045883e49893d4e8a' +
    '3a538b38588c365c8d34608d32648e31688e2f6c8e2d708e2c738e2a778e297b8e277f8e26828e24868e238a8d218e8d' +
    '20928c1f968b1f9a8a1f9e891fa18721a58523a98326ad812ab07f2fb47c35b7793bbb7542be714ac16d52c5695ac864' +
    '65cb5e6ece5877d15381d34d8bd64695d840a0da39aadc32b5de2bc0df25cae11fd5e21adfe318eae51af4e61efde725',
  cividis:
    '00224e00255400285b002b62002e6a0030700533711235701a386f213b6e273e6e2d416d32436d36466c3b496c3f4c6c' +
    '444f6c48526c4c556c50576c545a6d575d6d5b606e5e636f62656f656870696b716c6e727071737374757777767a7a78' +
    '7e7d788280798683798a86788e8978928c78958f779992779d9576a19975a59c74a99f73ada272b1a570b6a96fbaac6d' +
    'bfb06bc3b369c7b767ccba64d0be62d4c15fd9c55cddc858e1cc55e6d051ead34cefd748f3db42f8df3cfde334fee838',
};

function table(hex) {
  const found = [];
  for (let at = 0; at < hex.length; at += 6) {
    found.push([0, 2, 4].map((shift) => parseInt(hex.slice(at + shift, at + shift + 2), 16)));
  }
  return found;
}

const TABLES = { viridis: table(HEX.viridis), cividis: table(HEX.cividis) };

/** Red, green, blue (0 to 255) of a share in [0, 1] on a scale. */
export function colour(name, share) {
  const scale = TABLES[name];
  const place = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
  const below = Math.min(Math.floor(place), scale.length - 2);
  const part = place - below;
  return scale[below].map((value, index) => Math.round(value + part * (scale[below + 1][index] - value)));
}

/** Colours of base stations: told apart in hue and in lightness, and always with their letters. */
export const STATIONS = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0], [120, 94, 240], [148, 132, 20],
];

/** The letter of a base station by its number: A to Z, then A2. */
export function letter(number) {
  const more = Math.floor(number / 26);
  return String.fromCharCode(65 + (number % 26)) + (more ? String(more + 1) : '');
}
