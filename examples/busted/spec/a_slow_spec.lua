describe('something slow', function()
  it('takes a second', function()
    local stop = os.clock() + 1
    repeat until os.clock() > stop
  end)
end)
