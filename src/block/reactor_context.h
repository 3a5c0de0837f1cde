// SPDX-License-Identifier: Apache-2.0
// ReactorContext: a data reactor and the payload memory that belongs to it. The composition root
// makes one per reactor; front and back ends get a list of them and place their work.
#pragma once

#include "memory/buffer_pool.h"
#include "reactor/reactor.h"

namespace remora::block {

struct ReactorContext {
    reactor::Reactor& reactor;
    memory::BufferPool& buffers;
};

}  // namespace remora::block
