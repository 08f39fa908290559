local list = require 'src.list'

describe('list.sum', function()
  it('adds numbers', function()
    assert.equal(6, list.sum { 1, 2, 3 })
  end)
end)
