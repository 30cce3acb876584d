from oms.main import start_smoke

start_smoke()
