/* The encrypted connection to the proxy. */
#pragma once

#include "cavs/sender.h"
#include "settings.h"

/* A connection to the proxy that the settings name; they must live as long. It is opened when needed. */
cavs_link link_to_proxy(const settings *whose);
