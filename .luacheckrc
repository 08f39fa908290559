std = 'max'
files['spec'].std = 'max+busted'
files['examples/busted/spec'].std = 'max+busted'
