from oms.main import start

start("image")
