// tailscale-control is a control plane for one closed lab: coordination server, DERP relay and STUN server.
//
// All three are Tailscale's own packages: the control server is the one of their integration tests, so what
// members speak is the real protocol, but its state is in memory and it knows one auth key and no users.
// DERP is HTTPS as ever; its certificate is signed by a CA that lives as long as this process.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

const region = 900 // from 900 on, regions are not the vendor's

func main() {
	var (
		address = flag.String("address", "", "address that members reach this server at")
		folder  = flag.String("folder", "", "reads the auth key from `key`, writes the CA to `ca.pem`")
		control = flag.Int("control", 8080, "TCP port of the coordination server (plain HTTP)")
		relay   = flag.Int("derp", 443, "TCP port of DERP (HTTPS)")
		stun    = flag.Int("stun", 3478, "UDP port of STUN")
	)
	flag.Parse()
	authKey, err := os.ReadFile(filepath.Join(*folder, "key"))
	if err != nil || len(strings.TrimSpace(string(authKey))) == 0 {
		log.Fatalf("no auth key: %v", err)
	}
	authority, certificate, err := newCertificate(net.ParseIP(*address))
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*folder, "ca.pem"), authority, 0o644); err != nil {
		log.Fatal(err)
	}
	at := func(port int) string { return net.JoinHostPort(*address, strconv.Itoa(port)) }
	go func() { log.Fatal(serveRelay(at(*relay), certificate)) }()
	go func() { log.Fatal(stunserver.New(context.Background()).ListenAndServe(at(*stun))) }()

	server := &testcontrol.Server{
		Logf:             log.Printf,
		RequireAuthKey:   strings.TrimSpace(string(authKey)),
		AllNodesSameUser: true,
		AllOnline:        true,
		MagicDNSDomain:   "lab.test",
		ExplicitBaseURL:  fmt.Sprintf("http://%s", at(*control)),
		DERPMap:          derpMap(*address, *relay, *stun),
	}
	log.Printf("control %s, DERP %s, STUN %s", at(*control), at(*relay), at(*stun))
	log.Fatal(http.ListenAndServe(at(*control), server))
}

// derpMap names this lab's relay and no other: without OmitDefaultRegions members would add the vendor's.
func derpMap(address string, relay, stun int) *tailcfg.DERPMap {
	node := &tailcfg.DERPNode{
		Name: "lab", RegionID: region, HostName: address, IPv4: address, IPv6: "none",
		STUNPort: stun, DERPPort: relay,
	}
	return &tailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions: map[int]*tailcfg.DERPRegion{region: {
			RegionID: region, RegionCode: "lab", RegionName: "lab", Nodes: []*tailcfg.DERPNode{node},
		}},
	}
}

func serveRelay(address string, certificate tls.Certificate) error {
	relay := derpserver.New(key.NewNode(), logger.WithPrefix(log.Printf, "derp: "))
	mux := http.NewServeMux()
	mux.Handle("/derp", derpserver.Handler(relay))
	mux.HandleFunc("/derp/probe", derpserver.ProbeHandler)
	mux.HandleFunc("/derp/latency-check", derpserver.ProbeHandler)
	mux.HandleFunc("/generate_204", derpserver.ServeNoContent)
	server := &http.Server{
		Addr:      address,
		Handler:   mux,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		// DERP takes the connection over, which HTTP/2 does not allow.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	return server.ListenAndServeTLS("", "")
}
