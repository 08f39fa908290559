require 'errors'
