std = 'max'
files['spec'].std = 'max+busted'
files['examples/busted/spec'].std = 'max+busted'
-- A program for the specs that is meant to be wrong.
exclude_files = { 'spec/programs/transparent/broken.lua' }
