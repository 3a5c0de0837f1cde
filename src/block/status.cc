// SPDX-License-Identifier: Apache-2.0
#include "block/status.h"

namespace remora::block {

std::string_view to_string(Status status) noexcept {
    switch (status) {
        case Status::Ok:
            return "ok";
        case Status::IoError:
            return "i/o error";
        case Status::OutOfRange:
            return "out of range";
        case Status::InvalidRequest:
            return "invalid request";
        case Status::Unsupported:
            return "unsupported";
        case Status::ReadOnly:
            return "read only";
        case Status::NoSpace:
            return "no space";
        case Status::PathError:
            return "no path";
        case Status::Aborted:
            return "aborted";
        case Status::NoResources:
            return "no resources";
        case Status::DataCorrupt:
            return "data corrupt";
    }
    return "unknown";
}

}  // namespace remora::block
