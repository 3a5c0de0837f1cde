// SPDX-License-Identifier: Apache-2.0
#include "rest/server.h"

#include <charconv>
#include <utility>

#include <grpcpp/channel.h>

#include "rest/caller.h"
#include "rest/http_server.h"
#include "rest/transcoder.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

/// Calls under way when the server stops have this long; then they are cancelled.
constexpr std::int64_t kCallGraceMs = 5'000;
/// And their answers this long to be taken.
constexpr std::int64_t kConnectionGraceMs = 7'000;

struct Address {
    std::string host;
    int port = 0;
};

Result<Address> parse_address(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    Address address;
    if (colon != std::string::npos) {
        address.host = text.substr(0, colon);
        const char* end = text.data() + text.size();
        const auto [stop, trouble] = std::from_chars(text.data() + colon + 1, end, address.port);
        if (address.host.starts_with('[') && address.host.ends_with(']')) {
            address.host = address.host.substr(1, address.host.size() - 2);
        } else if (address.host.find(':') != std::string::npos) {
            address.host.clear();  // IPv6 without brackets: where it ends is a guess.
        }
        if (trouble == std::errc() && stop == end && !address.host.empty() && address.port >= 0 &&
            address.port <= 65535) {
            return address;
        }
    }
    return fail(ErrorKind::InvalidArgument,
                text + " is no HOST:PORT to listen for REST on, as 127.0.0.1:8082 or [::1]:8082");
}

}  // namespace

struct Server::Parts {
    Parts(std::shared_ptr<grpc::Channel> channel, std::string where)
        : caller(std::move(channel)), address(std::move(where)) {}

    ChannelCaller caller;
    std::unique_ptr<Transcoder> transcoder;
    std::unique_ptr<HttpServer> http;
    std::string address;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() {
    stop();
}

Result<std::unique_ptr<Server>> Server::start(const std::string& address,
                                              std::shared_ptr<grpc::Channel> channel,
                                              const std::vector<std::string>& services) {
    const auto where = parse_address(address);
    if (!where) {
        return std::unexpected(where.error());
    }
    auto parts = std::make_unique<Parts>(std::move(channel), address);
    auto transcoder = Transcoder::make(services, parts->caller);
    if (!transcoder) {
        return std::unexpected(transcoder.error());
    }
    parts->transcoder = std::move(*transcoder);
    parts->http = std::make_unique<HttpServer>(
        [transcoder = parts->transcoder.get()](const HttpRequest& request) {
            return transcoder->answer(request);
        });
    const int port = parts->http->start(where->host, where->port);
    if (port <= 0) {
        return fail(ErrorKind::FailedPrecondition,
                    "cannot listen for REST on " + address +
                        "; it is no address of this machine, or in use");
    }
    parts->address = address.substr(0, address.rfind(':') + 1) + std::to_string(port);
    return std::unique_ptr<Server>(new Server(std::move(parts)));
}

const std::string& Server::address() const {
    return parts_->address;
}

void Server::stop() {
    if (parts_->http == nullptr) {
        return;
    }
    parts_->http->begin_stop(kConnectionGraceMs);
    if (!parts_->http->ended(kCallGraceMs)) {
        parts_->caller.cancel();
    }
    parts_->http.reset();  // Joins the threads, whose waits all end by then.
}

}  // namespace remora::rest
