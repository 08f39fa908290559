std = 'max'
files['spec'].std = 'max+busted'
